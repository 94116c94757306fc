"""Plugins of one project: the files ``plugins/*.py`` beside its project file, where ``[plugins] local`` asks for them.

Each file becomes a module of this package. Its name holds the path of the file and the digest of its contents, so that
workers find it by the name alone, wherever a value of one of its classes is sent, and a changed file is another module.
"""

from __future__ import annotations

import sys

from lcframework.local_plugins.modules import LocalFinder, contents_of, local_plugins

__all__ = ["contents_of", "local_plugins"]

if not any(isinstance(finder, LocalFinder) for finder in sys.meta_path):
    sys.meta_path.append(LocalFinder())
