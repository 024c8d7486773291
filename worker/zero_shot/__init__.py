"""Tags and moderation by what an image's vector is near: two stages, added by entry points as anybody's would be."""
