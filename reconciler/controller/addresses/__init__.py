"""What the controller does with addresses: give, take over, take back, mend their books."""
