"""Reading new films and sound: estimates over time, drawn and tabled."""
