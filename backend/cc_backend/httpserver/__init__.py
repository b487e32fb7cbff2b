"""HTTP/1.1 for both programs: connections and bodies, answers and their headers, compression."""
