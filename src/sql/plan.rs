use super::statement::Statement;

/// The kind of plan that the server makes for a prepared statement: PostgreSQL's `plan_cache_mode`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum StatementPlan {
    /// A plan for the parameters' values, which is made for each execution.
    Custom,
    /// One plan for all values of the parameters.
    Generic,
}

impl StatementPlan {
    /// Returns the setting's name and its value.
    pub(super) fn setting(self) -> (&'static str, &'static str) {
        let mode = match self {
            Self::Custom => "force_custom_plan",
            Self::Generic => "force_generic_plan",
        };
        ("plan_cache_mode", mode)
    }

    /// Renders the statement that makes the server use such plans in this session from now on.
    pub(crate) fn set(self) -> Statement<'static> {
        let (name, mode) = self.setting();
        let text = format!("SELECT set_config('{name}', '{mode}', false)");
        Statement::without_params(text)
    }
}
