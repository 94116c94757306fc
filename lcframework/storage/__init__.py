"""What is kept: the tables of the database, the products on disk, and who may write."""
