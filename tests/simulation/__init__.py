"""The real controllers and agents on twins of etcd, Marathon, hosts and clock.

One seed is one schedule: who runs when, what fails where and what people do
meanwhile are drawn from it, and nothing else decides.
"""
