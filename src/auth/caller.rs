//! Somebody who was let in.

use std::sync::Arc;

use crate::domain::{JobId, Person, Project, ProjectId, Scope, Token};

/// Who asks for something: whoever holds a token, or a person in a project.
#[derive(Debug, Clone)]
pub struct Caller(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Token(Arc<Token>),
    Person { person: Arc<Person>, project: Option<ProjectId>, scopes: Vec<Scope> },
}

/// Somebody whose credentials are good, wherever they want to go.
#[derive(Debug, Clone)]
pub enum SignedIn {
    /// Whoever holds this token.
    Token(Arc<Token>),
    /// Somebody whom an issuer has named.
    Person(Arc<Person>),
}

impl SignedIn {
    /// Them as a caller about the whole installation, where they may be allowed nothing.
    #[must_use]
    pub fn caller_everywhere(&self) -> Caller {
        match self {
            Self::Token(token) => Caller::with_token(Arc::clone(token)),
            Self::Person(person) => {
                let (person, scopes) = (Arc::clone(person), person.scopes_everywhere());
                Caller(Kind::Person { person, project: None, scopes })
            }
        }
    }

    /// Them as a caller in this project; `None` when they have no business there.
    #[must_use]
    pub fn caller_in(&self, project: &Project) -> Option<Caller> {
        match self {
            Self::Token(token) => {
                let theirs = token.project.is_none_or(|own| own == project.id);
                theirs.then(|| Caller::with_token(Arc::clone(token)))
            }
            Self::Person(person) => {
                let (everywhere, scopes) = (person.scopes_everywhere(), person.scopes_in(&project.name));
                // What they may do here and not everywhere binds the caller to this project.
                let more = scopes.iter().any(|scope| !everywhere.iter().any(|held| held.includes(*scope)));
                let kind = Kind::Person { person: Arc::clone(person), project: more.then_some(project.id), scopes };
                Some(Caller(kind)).filter(|caller| !caller.scopes().is_empty())
            }
        }
    }
}

impl Caller {
    /// Whoever holds this token.
    const fn with_token(token: Arc<Token>) -> Self {
        Self(Kind::Token(token))
    }

    /// The token's name, or the person's.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Kind::Token(token) => &token.name,
            Kind::Person { person, .. } => &person.name,
        }
    }

    /// The token, without its secret; a person has none.
    #[must_use]
    pub fn token(&self) -> Option<&Token> {
        match &self.0 {
            Kind::Token(token) => Some(token),
            Kind::Person { .. } => None,
        }
    }

    /// The only project that the caller may ask about; `None` = all of them.
    #[must_use]
    pub fn project(&self) -> Option<ProjectId> {
        match &self.0 {
            Kind::Token(token) => token.project,
            Kind::Person { project, .. } => *project,
        }
    }

    /// The only jobs that the caller may see and trigger; empty = all of the project.
    #[must_use]
    pub fn jobs(&self) -> &[JobId] {
        self.token().map_or(&[], |token| &token.jobs)
    }

    /// Whether the caller may do what the scope allows.
    #[must_use]
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes().iter().any(|held| held.includes(scope))
    }

    /// Whether the caller reaches this job.
    #[must_use]
    pub fn reaches(&self, job: JobId) -> bool {
        self.jobs().is_empty() || self.jobs().contains(&job)
    }

    /// Whether the caller belongs to the whole installation and holds `admin`.
    #[must_use]
    pub fn is_instance_admin(&self) -> bool {
        self.project().is_none() && self.may(Scope::Admin)
    }

    /// What they may do.
    #[must_use]
    pub fn scopes(&self) -> &[Scope] {
        match &self.0 {
            Kind::Token(token) => &token.scopes,
            Kind::Person { scopes, .. } => scopes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Access, Timestamp};

    fn project(name: &str) -> Project {
        let created_at = Timestamp::from_micros(0);
        Project { id: ProjectId::generate(), name: name.parse().unwrap(), images: Vec::new(), created_at }
    }

    fn person(access: &[(Option<&str>, &[Scope])]) -> SignedIn {
        let access = access.iter().map(|(project, scopes)| Access {
            project: project.map(|name| name.parse().unwrap()),
            scopes: scopes.to_vec(),
        });
        let (name, subject) = ("anna@example.com".to_owned(), "1".to_owned());
        SignedIn::Person(Arc::new(Person { name, subject, access: access.collect() }))
    }

    #[test]
    fn people_are_callers_where_they_were_let_in() {
        let (sales, other) = (project("sales"), project("other"));
        let anna = person(&[(Some("sales"), &[Scope::Read]), (Some("sales"), &[Scope::Trigger])]);
        let caller = anna.caller_in(&sales).unwrap();
        assert_eq!((caller.name(), caller.project()), ("anna@example.com", Some(sales.id)));
        assert!(caller.may(Scope::Read) && caller.may(Scope::Trigger) && !caller.may(Scope::Write));
        assert!(caller.token().is_none() && caller.reaches(JobId::generate()));
        assert!(anna.caller_in(&other).is_none());
    }

    #[test]
    fn what_is_given_in_a_project_counts_nowhere_else() {
        let (sales, other) = (project("sales"), project("other"));
        let both = person(&[(None, &[Scope::Read]), (Some("sales"), &[Scope::Admin])]);
        let here = both.caller_in(&sales).unwrap();
        assert!(here.may(Scope::Admin) && !here.is_instance_admin());
        assert_eq!(here.project(), Some(sales.id));
        let there = both.caller_in(&other).unwrap();
        assert!(there.may(Scope::Read) && !there.may(Scope::Trigger));
        assert_eq!(there.project(), None);

        let admin = person(&[(None, &[Scope::Admin]), (Some("sales"), &[Scope::Read])]);
        assert!(admin.caller_in(&sales).unwrap().is_instance_admin());
    }
}
