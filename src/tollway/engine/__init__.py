"""llama.cpp in a supervised child process; model files fetched, verified and described."""
