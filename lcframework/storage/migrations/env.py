"""Alembic runs this module to execute steps, on the connection from :mod:`lcframework.storage.schema`."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
