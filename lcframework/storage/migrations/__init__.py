"""How the tables came to be as they are: one step for each change, carried out by Alembic.

A change of a table in :mod:`lcframework.storage.tables` brings a module in ``versions/``, whose `revision` becomes
`lcframework.storage.schema.HEAD`.
"""
