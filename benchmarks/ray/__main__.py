"""`python -m benchmarks.ray`, see `nodes`."""

if __name__ == "__main__":
    # Imported here, since each local worker imports the main module of its parent.
    from benchmarks.ray.nodes import main

    main()
