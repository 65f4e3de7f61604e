"""What a key does to the batch: one module for each deed. Layout is the screens', drawing the widgets'."""
