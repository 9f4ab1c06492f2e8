"""What the product says of tasks and who should reach whom, over HTTP, to be shown."""
