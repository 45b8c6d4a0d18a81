//! `haulier channel`: where notices are sent.

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::Cell;
use secrecy::ExposeSecret;

use super::{
    context::Context,
    exit::Usage,
    input,
    pages::Limit,
    text::{maybe, pair, time},
};
use crate::{
    api::types::{ChannelRequest, ChannelView},
    domain::{ChannelKind, ChannelSpec, EmailSpec, MailTls, Name, NoticeKind, QuietHours, Severity},
};

#[derive(Debug, Subcommand)]
pub(super) enum ChannelCommand {
    /// List channels
    List(Limit),
    /// Make a channel, or change it; its address or password comes from stdin, or is asked for
    Set(Box<SetArgs>),
    /// Send a message that says it is a test
    Test {
        /// Its name
        name: String,
    },
    /// Remove a channel
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Webhook,
    Slack,
    Teams,
    Email,
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// Its name
    name: String,
    /// How it sends
    #[arg(long)]
    kind: Kind,
    /// Keep the address or the password as it is
    #[arg(long)]
    keep: bool,
    /// Tell what is this bad, or worse: warning, error, critical
    #[arg(long, value_name = "SEVERITY", default_value = "warning")]
    min_severity: String,
    /// Tell notices of these kinds alone, separated by commas
    #[arg(long, value_name = "KIND,…", value_delimiter = ',')]
    kinds: Vec<String>,
    /// Tell notices about these jobs alone, separated by commas
    #[arg(long, value_name = "JOB,…", value_delimiter = ',')]
    jobs: Vec<Name>,
    /// Tell notices about jobs with all of these labels alone
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = pair)]
    labels: Vec<(String, String)>,
    /// Do not tell when a notice is over
    #[arg(long)]
    opened_only: bool,
    /// Hold back all but critical notices in these hours
    #[arg(long, value_name = "HH:MM-HH:MM")]
    quiet_hours: Option<String>,
    /// The time zone of these hours
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    timezone: String,
    /// The mail server, with port if it is not the usual one
    #[arg(long, value_name = "HOST[:PORT]")]
    smtp: Option<String>,
    /// Who logs in at the mail server
    #[arg(long)]
    username: Option<String>,
    /// Who sends
    #[arg(long, value_name = "ADDRESS")]
    from: Option<String>,
    /// Who receives, separated by commas
    #[arg(long, value_name = "ADDRESS,…", value_delimiter = ',')]
    to: Vec<String>,
    /// How the connection to the mail server is protected: starttls, implicit, none
    #[arg(long, default_value = "starttls")]
    tls: String,
    /// A file with a certificate authority to trust besides the usual ones
    #[arg(long, value_name = "FILE")]
    ca: Option<String>,
}

pub(super) async fn run(context: &Context, command: ChannelCommand) -> anyhow::Result<()> {
    let (client, out) = (context.client()?, context.out);
    match command {
        ChannelCommand::List(limit) => {
            let channels = limit.collect(out, async |cursor| client.channels(cursor).await).await?;
            let head = ["NAME", "KIND", "TARGET", "FROM", "DELIVERED", "LAST ERROR"];
            out.list("channels", &channels, &head, row)?;
        }
        ChannelCommand::Set(args) => {
            let request = request(&args)?;
            let channel = client.set_channel(&args.name, &request).await?;
            out.one(&channel, |channel| format!("{} is set, to {}", channel.name, channel.target))?;
        }
        ChannelCommand::Test { name } => {
            client.test_channel(&name).await?;
            out.note(format_args!("{name} has it"));
        }
        ChannelCommand::Remove { name } => {
            client.remove_channel(&name).await?;
            out.note(format_args!("{name} is removed"));
        }
    }
    Ok(())
}

fn row(channel: &ChannelView) -> Vec<Cell> {
    vec![
        Cell::new(&channel.name),
        Cell::new(channel.spec.kind.as_str()),
        Cell::new(&channel.target),
        Cell::new(channel.spec.min_severity.as_str()),
        Cell::new(maybe(channel.delivered_at.map(time))),
        Cell::new(maybe(channel.last_error.as_deref())),
    ]
}

fn request(args: &SetArgs) -> anyhow::Result<ChannelRequest> {
    let kind = match args.kind {
        Kind::Webhook => ChannelKind::Webhook,
        Kind::Slack => ChannelKind::Slack,
        Kind::Teams => ChannelKind::Teams,
        Kind::Email => ChannelKind::Email,
    };
    let kinds = args.kinds.iter().map(|kind| {
        let known = || NoticeKind::ALL.map(NoticeKind::as_str).join(", ");
        NoticeKind::parse(kind).ok_or_else(|| Usage(format!("{kind} is no kind: there are {}", known())))
    });
    let spec = ChannelSpec {
        kind,
        email: (kind == ChannelKind::Email).then(|| email(args)).transpose()?,
        min_severity: word::<Severity>(&args.min_severity, "--min-severity is warning, error or critical")?,
        kinds: kinds.collect::<Result<_, _>>()?,
        jobs: args.jobs.clone(),
        labels: args.labels.iter().cloned().collect(),
        resolved: !args.opened_only,
        quiet_hours: args.quiet_hours.as_deref().map(|hours| quiet(hours, &args.timezone)).transpose()?,
    };
    let (mut url, mut password) = (None, None);
    let secret = |prompt: &str| input::secret(prompt).map(|secret| Some(secret.expose_secret().to_owned()));
    if !args.keep {
        match (kind, &args.username) {
            (ChannelKind::Email, None) => {}
            (ChannelKind::Email, Some(username)) => {
                password = secret(&format!("password of {username} (not shown): "))?;
            }
            _ => url = secret(&format!("address of {} (not shown): ", args.name))?,
        }
    }
    Ok(ChannelRequest { spec, url, password })
}

fn email(args: &SetArgs) -> anyhow::Result<EmailSpec> {
    let (Some(smtp), Some(from)) = (&args.smtp, &args.from) else {
        return Err(Usage("mail needs --smtp, --from and --to".to_owned()).into());
    };
    let (host, port) = match smtp.rsplit_once(':') {
        Some((host, port)) => {
            (host, Some(port.parse().map_err(|_| Usage("--smtp is a host, or host:port".to_owned()))?))
        }
        None => (smtp.as_str(), None),
    };
    let ca = args.ca.as_deref().map(|path| input::text(path).context("the certificate authority")).transpose()?;
    Ok(EmailSpec {
        host: host.to_owned(),
        port,
        tls: word::<MailTls>(&args.tls, "--tls is starttls, implicit or none")?,
        ca_certificate: ca,
        username: args.username.clone(),
        from: from.clone(),
        to: args.to.clone(),
    })
}

fn quiet(hours: &str, timezone: &str) -> Result<QuietHours, Usage> {
    let (from, to) = hours.split_once('-').ok_or_else(|| Usage("--quiet-hours is like 22:00-07:00".to_owned()))?;
    Ok(QuietHours { from: from.trim().to_owned(), to: to.trim().to_owned(), timezone: timezone.to_owned() })
}

/// One of a few words, as JSON has them.
fn word<T: serde::de::DeserializeOwned>(text: &str, advice: &str) -> Result<T, Usage> {
    serde_json::from_value(text.into()).map_err(|_| Usage(advice.to_owned()))
}
