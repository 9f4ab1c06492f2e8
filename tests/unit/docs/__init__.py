"""What the pages say, beside what the product and its tests know."""
