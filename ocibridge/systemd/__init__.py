"""What ties the process to its service manager: signals, notifications, and the journal."""
