"""For authors of plugins: writes packages that work, checks what is installed, shows what there is and who uses it."""
