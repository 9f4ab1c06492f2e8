"""What an agent tells the datastore and its operators."""
