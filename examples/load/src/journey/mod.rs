//! Carries out intentions.
