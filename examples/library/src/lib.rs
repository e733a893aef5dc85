//! A public library, event-sourced on eddyline.
