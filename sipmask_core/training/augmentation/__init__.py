"""What a training image may look like: one module for each family of augmentation."""
