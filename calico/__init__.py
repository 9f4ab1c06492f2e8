"""Task networking: Calico's data model, its datastore and the dataplane of one host."""
