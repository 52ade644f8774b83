"""Files of texts of any length: lines in, results out, chunk by chunk, killable and resumable."""
