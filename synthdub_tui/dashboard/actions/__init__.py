"""What a key does to the batch: one module for each action. Layout belongs in `screens`, drawing in `widgets`."""
