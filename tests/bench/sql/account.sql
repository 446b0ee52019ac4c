-- One person's record, in both databases alike.
-- revision numbers the recorded changes, so a row says which of them it holds; 0 is none.
CREATE SCHEMA bench;
CREATE TABLE bench.account (
  id BIGINT PRIMARY KEY,
  account_uuid UUID NOT NULL,
  full_name TEXT NOT NULL,
  father_name TEXT,
  email TEXT,
  mobile TEXT,
  national_number TEXT NOT NULL,
  address TEXT,
  city TEXT,
  pincode TEXT,
  date_of_birth DATE,
  status TEXT NOT NULL,
  district_id INT,
  balance NUMERIC(18, 2) NOT NULL,
  income NUMERIC(14, 2),
  is_verified BOOLEAN NOT NULL,
  is_active BOOLEAN NOT NULL,
  created_at TIMESTAMP NOT NULL,
  updated_at TIMESTAMP NOT NULL,
  revision INT NOT NULL
);
-- Its changes are timed one by one; those of account are recorded and read again.
CREATE TABLE bench.live (LIKE bench.account INCLUDING ALL);
