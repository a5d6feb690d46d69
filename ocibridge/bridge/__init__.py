"""The operations on containers, without D-Bus. Dobby is reached by the protocol DobbyApi."""
