"""The bundled demo model: the pictures it learns from, its training and its evaluation."""
