"""Migrations of the tables: one step for each change, executed by Alembic.

A change of a table in :mod:`lcframework.storage.tables` needs a new module in ``versions/``; its `revision` becomes
`lcframework.storage.schema.HEAD`.
"""
