"""What Alembic runs to carry out steps: on the connection that :mod:`lcframework.storage.schema` gives it."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
