"""What a stack costs a month, from its render: `make cost STACK=prod`."""
