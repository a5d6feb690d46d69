"""The process under systemd: signals, notifications and the journal."""
