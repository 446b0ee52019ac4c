-- A table of accounts, the same in both databases.
-- revision is the number of the last change of the row, 0 before any change.
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
-- The changes of bench.account are recorded and read by every pass; those of bench.live are timed one by one.
CREATE TABLE bench.live (LIKE bench.account INCLUDING ALL);
