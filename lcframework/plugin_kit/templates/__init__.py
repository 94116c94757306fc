"""Plugins that work as they are, one of each kind, from which ``lcf plugins new`` makes a package.

``PluginClass``, ``plugin_name`` and the module's own name are replaced; the rest is written as it stands here. Each has
a test of its name in :mod:`lcframework.plugin_kit.templates.tests`.
"""
