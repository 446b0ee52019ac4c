"""Mask columns by the policies, in the JSON form of Apache Ranger.

Masks, policies with their maximum age, the origin of each result column, and the scrubber of free
text; `ranger/` speaks to Ranger Admin. Imports `postgres`, `kafka` and `config`; `transform`,
`inspection` and `api` use it.
"""
