"""What is around the vehicles: cameras, streets, weather, ways through the city."""
