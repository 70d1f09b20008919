"""The content-addressed store on any pyarrow filesystem, and where its contents come from."""
