"""Stored data: the tables of the database, the files of products, and the lock of the workdir."""
