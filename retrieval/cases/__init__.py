"""Cases: named, saved searches of a gallery with marks and notes, watched and exported."""
