"""The pages: documentation, catalogue, playground, dashboard. Rendered on the server; nothing is fetched from anywhere else."""
