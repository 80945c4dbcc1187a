//! What a list that is repeated warns of: when it comes up and when it changes, not at every reading.

/// One warning, and what it said of the reading before.
#[derive(Debug, Default)]
pub(super) struct Warning {
    told: Option<String>,
}

impl Warning {
    /// Says what there is to warn of in this reading, if that is not what was said of the one before.
    pub(super) fn tell(&mut self, text: Option<String>) {
        if self.is_news(text)
            && let Some(text) = &self.told
        {
            log::warn!("{text}");
        }
    }

    fn is_news(&mut self, text: Option<String>) -> bool {
        let is_news = text.is_some() && text != self.told;
        self.told = text;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::Warning;

    #[test]
    fn a_warning_is_news_when_it_comes_up_and_when_it_changes() {
        let mut warning = Warning::default();
        for (text, is_news) in [
            (None, false),
            (Some("one"), true),
            (Some("one"), false),
            (Some("two"), true),
            (None, false),
            (None, false),
            (Some("two"), true),
        ] {
            assert_eq!(
                warning.is_news(text.map(str::to_owned)),
                is_news,
                "{text:?}"
            );
        }
    }
}
