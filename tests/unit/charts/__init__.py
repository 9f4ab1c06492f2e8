"""Tests of the Marathon apps and DC/OS packages that run the product."""
