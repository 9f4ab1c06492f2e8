"""What is shown on the cluster, told step by step and measured."""
