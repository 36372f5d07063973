//! What `login` asks of DingTalk: do key and secret fit, whose are they, and does the AgentID belong to them
//! (API.md sections 1.2 to 1.4).

use bridge_core::id::{CorpId, RobotCode};
use bridge_core::secret::Secret;

use super::http::Payload;
use super::{Api, Client, Credentials};
use crate::error::{ApiError, Class, Effect};
use crate::wire::json;

/// What DingTalk says about an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginInfo {
    /// The organisation's name.
    pub organisation: String,
    /// The organisation's id. No call answers it (API.md section 1.3), so it is learnt from the first callback.
    pub corp: Option<CorpId>,
    /// Whether the AgentID could be checked; it cannot without the scope `qyapi_get_microapp_list`.
    pub agent_checked: bool,
    /// The bot of the app; equal to the AppKey.
    pub robot: RobotCode,
}

/// Why a login fails.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// AppKey and AppSecret do not fit together.
    #[error("the AppKey or the AppSecret is wrong")]
    InvalidPair,
    /// The AgentID belongs to another app, or to none.
    #[error("the AgentID is not this app's")]
    ForeignAgent,
    /// The app lacks a permission.
    #[error("the permission {scope} is missing: {what}")]
    MissingScope {
        /// DingTalk's name of the permission.
        scope: String,
        /// What was asked for: `organisation` or `token`.
        what: &'static str,
    },
    /// The bridge's address is not on the app's list.
    #[error("this address may not call DingTalk for the app")]
    IpNotAllowed,
    /// Too many calls, or the month's calls are used up.
    #[error("DingTalk answers no more calls for now")]
    Throttled,
    /// DingTalk could not be reached, or did not answer.
    #[error("DingTalk cannot be reached: {0}")]
    Network(String),
    /// DingTalk answered something else.
    #[error("DingTalk answered {code}")]
    Unexpected {
        /// DingTalk's code.
        code: String,
    },
}

impl LoginError {
    fn from_api(error: ApiError, what: &'static str) -> Self {
        if error.is_address_not_allowed() {
            return Self::IpNotAllowed;
        }
        match error.class {
            Class::BadCredentials => Self::InvalidPair,
            Class::Denied => Self::MissingScope { scope: error.scope.unwrap_or(error.code), what },
            Class::Throttled { .. } | Class::QuotaExhausted | Class::Banned => Self::Throttled,
            Class::Retry | Class::MaybeSent if error.code.starts_with("bridge.") => {
                Self::Network(error.message)
            }
            Class::Retry
            | Class::MaybeSent
            | Class::TokenExpired
            | Class::WrongData
            | Class::ChatGone
            | Class::SessionGone
            | Class::UserGone
            | Class::BotOff
            | Class::Refused(_) => Self::Unexpected { code: error.code },
        }
    }
}

/// What the list of apps says about an AgentID.
#[derive(Debug, PartialEq, Eq)]
enum Agent {
    Own,
    Foreign,
    Unproven,
}

/// The root department, whose name is the organisation's (API.md section 1.3).
const ROOT: &[u8] = br#"{"dept_id":1}"#;
/// The permission that [`ORGANISATION`] needs.
const ORGANISATION_SCOPE: &str = "Contact.Org.Read";
const ORGANISATION: &str = "organisation";

impl Client {
    /// Checks credentials with DingTalk without taking them over.
    ///
    /// The organisation's name is read from `authInfos`, else from the root department (API.md section 1.3); when
    /// both are denied the error names the scope of the first.
    pub async fn check_login(
        &self,
        credentials: &Credentials,
        agent_id: u64,
    ) -> Result<LoginInfo, LoginError> {
        let robot = RobotCode::parse(credentials.app_key.as_str()).map_err(|_| LoginError::InvalidPair)?;
        let issued = self
            .fetch_token(std::sync::Arc::new(credentials.clone()))
            .await
            .map_err(|error| LoginError::from_api(error, "token"))?;
        let organisation = self.organisation(&issued.token).await?;
        let agent = self.agent(&issued.token, agent_id, &robot).await?;
        match agent {
            Agent::Foreign => Err(LoginError::ForeignAgent),
            Agent::Own => Ok(LoginInfo { organisation, corp: None, agent_checked: true, robot }),
            Agent::Unproven => Ok(LoginInfo { organisation, corp: None, agent_checked: false, robot }),
        }
    }

    async fn organisation(&self, token: &Secret) -> Result<String, LoginError> {
        let best = self
            .call_with(Api::New, AUTH_INFOS, token, Payload::None, Effect::Reads, |text| {
                name(json::pick_any(text, &["orgName"])[0])
            })
            .await;
        let denied = match best {
            Ok(name) => return Ok(name),
            Err(error) if error.class == Class::Denied && !error.is_address_not_allowed() => error,
            Err(error) if error.code == "invalidParameter.system.param" => error,
            Err(error) => return Err(LoginError::from_api(error, ORGANISATION)),
        };
        let root = self
            .call_with(
                Api::Old,
                "/topapi/v2/department/get",
                token,
                Payload::Json(ROOT),
                Effect::Reads,
                |text| {
                    let [result] = json::pick_any(text, &["result"]);
                    name(json::pick_any(&json::object(result), &["name"])[0])
                },
            )
            .await;
        match root {
            Ok(name) => Ok(name),
            Err(error) if error.class == Class::Denied && !error.is_address_not_allowed() => {
                let scope = denied.scope.unwrap_or_else(|| ORGANISATION_SCOPE.to_owned());
                Err(LoginError::MissingScope { scope, what: ORGANISATION })
            }
            Err(error) => Err(LoginError::from_api(error, ORGANISATION)),
        }
    }

    /// A list that is not to be had leaves the AgentID unproven; only work notices need it (API.md section 1.4).
    async fn agent(&self, token: &Secret, agent_id: u64, robot: &RobotCode) -> Result<Agent, LoginError> {
        let read = |text: &str| judge_agent(text, agent_id, robot);
        match self
            .call_with(Api::New, "/v1.0/microApp/allInnerApps", token, Payload::None, Effect::Reads, read)
            .await
        {
            Ok(agent) => Ok(agent),
            Err(error) if error.is_address_not_allowed() => Err(LoginError::IpNotAllowed),
            Err(_) => Ok(Agent::Unproven),
        }
    }
}

const AUTH_INFOS: &str = "/v1.0/contact/organizations/authInfos";

fn name(value: Option<&serde_json::value::RawValue>) -> Option<String> {
    json::filled(value).map(|name| json::clip(name.trim(), 256))
}

fn judge_agent(text: &str, agent_id: u64, robot: &RobotCode) -> Option<Agent> {
    let [list] = json::pick_any(text, &["appList"]);
    let mut listed = None;
    for app in json::elements(Some(list?)) {
        let [agent, info] = json::pick_any(app.get(), &["agentId", "robotInfo"]);
        let same_agent = json::number(agent).and_then(|id| u64::try_from(id).ok()) == Some(agent_id);
        let info = json::object(info);
        let code = json::filled(json::pick_any(&info, &["robotCode"])[0]);
        match code {
            // The app itself: its AgentID decides.
            Some(code) if code == robot.as_str() => {
                return Some(if same_agent { Agent::Own } else { Agent::Foreign });
            }
            Some(_) if same_agent => listed = Some(Agent::Foreign),
            None if same_agent => listed = Some(Agent::Unproven),
            _ => {}
        }
    }
    Some(listed.unwrap_or(Agent::Foreign))
}
