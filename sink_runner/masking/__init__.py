"""Masks and the policies that ask for them, in Apache Ranger's own form."""
