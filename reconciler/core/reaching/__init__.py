"""Who reaches whom by policy, and whose connections a change ends; pure."""
