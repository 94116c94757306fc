"""The plugins that come with lcframework, found through entry points like anybody else's."""
