"""Pictures of a region's pixels: of each epoch, and stacks of all."""
