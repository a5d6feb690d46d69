"""What each operation does. It knows neither D-Bus nor Dobby's quirks."""
