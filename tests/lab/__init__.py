"""The embedded fleet: hosts as network namespaces with real sshd, and faults that really stall their packets."""
