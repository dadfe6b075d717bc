"""The JVM side: which jars Tidemill runs on, and how they reach this machine."""
