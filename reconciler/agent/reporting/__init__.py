"""What an agent reports to the datastore and its operators."""
